"""What watches our images: Prometheus rules and a Grafana dashboard, as values of what both servers expose."""
