package test

import (
	"net"
	"net/textproto"
	"strings"
)

// serveMail speaks enough SMTP to take one mail, and sends its text to got.
func serveMail(l net.Listener, got chan<- string) {
	conn, err := l.Accept()
	if err != nil {
		close(got)
		return
	}
	defer conn.Close()
	c := textproto.NewConn(conn)
	_ = c.PrintfLine("220 mail.test")
	for {
		line, err := c.ReadLine()
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(line, " "); verb {
		case "DATA":
			_ = c.PrintfLine("354 go on")
			lines, _ := c.ReadDotLines()
			got <- strings.Join(lines, "\n")
			_ = c.PrintfLine("250 taken")
		case "QUIT":
			_ = c.PrintfLine("221 bye")
			return
		default:
			_ = c.PrintfLine("250 ok")
		}
	}
}
