"""OCPP on both sides: the wallboxes connect to us, we connect to the operator's backend on behalf of each."""
