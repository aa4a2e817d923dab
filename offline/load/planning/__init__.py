"""What is sent and when: what a run is asked to do, the arrivals of requests, and the schedules made of both."""
