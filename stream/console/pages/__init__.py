"""The pages, one file each: `PAGE` is what the console serves (see the package above). What is found here is served, in order."""
