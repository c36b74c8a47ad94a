"""What an image will be, as a value: files, config and a base. There is no RUN."""
