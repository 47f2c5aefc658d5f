"""A loaded model answering queries at control rate, and the gate behind it."""
