"""The cloud backend over MQTT: envelope, outbox, acknowledgements, commands."""
