"""Why a prediction is what it is: a base, and what each input added to it or took away. Pure arithmetic on a river model."""
