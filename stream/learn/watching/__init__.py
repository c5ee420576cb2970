"""What watches beside the guards, the stability of the inputs and the tests of the loss: each in a file of its own."""
