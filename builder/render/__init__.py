"""The only user of jinja2: a plan as a Dockerfile and a build context."""
