"""Plan -> host: apply, verify by a fresh look, keep a receipt, roll back."""
