package main

// What is running; the build sets both (-ldflags "-X main.version=1.2.0 -X main.revision=SHA").
var (
	version  = "dev"
	revision = "unknown"
)
