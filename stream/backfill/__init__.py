"""Bringing a changed definition over: state is converted or built anew while the old roles go on."""
