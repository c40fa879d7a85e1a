package mail

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"
)

// Message is a text for one recipient.
type Message struct {
	// From and To are addresses, From with a name if it has one.
	From, To string
	Subject  string
	Text     string
	// ID is the Message-ID without its brackets, as MessageID makes it.
	ID   string
	Date time.Time
}

// Address parses one address, "Name <a@b>" or "a@b", and refuses what would not
// stay in its line.
func Address(text string) (*mail.Address, error) {
	a, err := mail.ParseAddress(text)
	if err != nil || strings.ContainsAny(a.Address, "\r\n<> ") || strings.HasPrefix(a.Address, "-") {
		return nil, fmt.Errorf("%q is not a mail address", text)
	}
	return a, nil
}

// Domain gives what follows the last @ of an address, in small letters.
func Domain(address string) string {
	return strings.ToLower(address[strings.LastIndex(address, "@")+1:])
}

// MessageID makes an id that is the same for every repetition: it follows from the
// key of the attempt and from the recipient.
func MessageID(key, to, domain string) string {
	sum := sha256.Sum256([]byte(key + "\n" + to))
	return hex.EncodeToString(sum[:16]) + "@" + domain
}

// Bytes writes the message as it is sent (RFC 5322): UTF-8 as quoted-printable,
// and marked as automatic so that nobody's out-of-office answers it (RFC 3834).
func (m Message) Bytes() ([]byte, error) {
	from, err := Address(m.From)
	if err != nil {
		return nil, err
	}
	to, err := Address(m.To)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(m.Subject+m.ID, "\r\n") {
		return nil, errors.New("the subject and the id are one line each")
	}
	var out bytes.Buffer
	for _, field := range [][2]string{
		{"From", from.String()}, {"To", to.String()}, {"Subject", mime.QEncoding.Encode("utf-8", m.Subject)},
		{"Date", m.Date.UTC().Format(time.RFC1123Z)}, {"Message-ID", "<" + m.ID + ">"}, {"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "quoted-printable"},
		{"Auto-Submitted", "auto-generated"},
	} {
		fmt.Fprintf(&out, "%s: %s\r\n", field[0], field[1])
	}
	out.WriteString("\r\n")
	body := quotedprintable.NewWriter(&out)
	if _, err := body.Write([]byte(strings.ReplaceAll(m.Text, "\r\n", "\n") + "\n")); err != nil {
		return nil, err
	}
	if err := body.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
