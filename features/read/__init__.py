"""Reading features: many entities of many views in one round trip, each value with a status."""
