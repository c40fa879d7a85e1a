package main

import (
	"fmt"
	"net"
	"strconv"
)

// ports are the ports of the demo, all on 127.0.0.1. Nobody listens on closed.
type ports struct {
	postgres, redis, public, tls, blue, green, smtp, dns, prometheus, alertmanager, closed int
}

// freePorts holds all listeners open until it has every port, so that none is given twice.
func freePorts() (ports, error) {
	var p ports
	for _, port := range []*int{
		&p.postgres, &p.redis, &p.public, &p.tls, &p.blue, &p.green, &p.smtp, &p.dns, &p.prometheus, &p.alertmanager, &p.closed,
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return p, fmt.Errorf("find a free port: %w", err)
		}
		defer listener.Close()
		*port = listener.Addr().(*net.TCPAddr).Port
	}
	return p, nil
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
