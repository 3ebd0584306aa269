"""The fault campaign: the rig, the auditor, the catalogue of faults with their cases, and its parts."""
