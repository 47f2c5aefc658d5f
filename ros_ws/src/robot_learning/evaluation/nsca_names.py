"""What can be measured of an NSCA version, by name; without torch, for the command line."""

SUITES = (
    'probe',
    'zero_shot',
    'few_shot',
    'retrieval',
    'dynamics',
    'properties',
    'causal',
    'outcomes',
)
