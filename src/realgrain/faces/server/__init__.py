"""The service: pictures over HTTP. Nothing here touches a stranger's picture in the server's own process, see ``guard``."""
