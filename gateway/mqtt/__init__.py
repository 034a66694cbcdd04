"""The gateway's face on MQTT: requests in; answers, the event feed and the retained state out."""
