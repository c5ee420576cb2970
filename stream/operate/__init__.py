"""What operators do to a pipeline from outside: dead letters, training sets, publishing, a reset."""
