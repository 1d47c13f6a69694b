package e2e

// chaosFor is for how long the random faults go on, such as 10m: the long run.
const chaosFor = "WEIR_CHAOS"
