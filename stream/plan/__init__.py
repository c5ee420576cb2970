"""What a changed definition would do, before it does: decided by the code that will do it, measured, and tried on history."""
