"""The engines that fold an event into a view's state and read its values: in Python, and in C."""
