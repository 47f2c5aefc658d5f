"""Files from the stores of one host to those of others: offered, asked for, sent, checked."""
