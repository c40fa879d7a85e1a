package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/mail"
	"allclear.dev/allclear/internal/receipt"
)

const (
	// maxList bounds a file of recipients, in bytes; maxPeople how many there are.
	maxList   = 16 << 20
	maxPeople = 50000
	// shown is how many recipients stand among the facts; the rest is in the
	// artefact.
	shown = 20
	// tries is how often a message is begun: a server may close a session between
	// two messages.
	tries = 2
)

// mailed is what became of the message to one recipient.
type mailed struct {
	to    string
	state receipt.State
	// said is the server's answer, or why there is none.
	said, id string
}

// people gives the recipients of a target, each once, in the order written.
func (p *notification) people(ctx context.Context, env *check.Env, t target) ([]string, error) {
	list := split([]string{t.name})
	if path, isFile := strings.CutPrefix(t.name, "csv:"); isFile {
		text, err := readFile(ctx, env, path, maxList)
		if err != nil {
			return nil, fmt.Errorf("read recipients: %w", err)
		}
		if list, err = column(text, cmp.Or(p.Email.Column, "email")); err != nil {
			return nil, fmt.Errorf("read recipients of %s: %w", path, err)
		}
	}
	var out []string
	seen := map[string]bool{}
	for _, text := range list {
		a, err := mail.Address(text)
		if err != nil {
			return nil, err
		}
		local, domain, _ := strings.Cut(a.Address, "@")
		who := local + "@" + strings.ToLower(domain)
		if !seen[who] {
			seen[who], out = true, append(out, who)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("there is no recipient")
	}
	if len(out) > maxPeople {
		return nil, fmt.Errorf("more than %d recipients: that is a job for a mailing service", maxPeople)
	}
	return out, nil
}

// column gives one column of a CSV file that begins with a line of names.
func column(text []byte, name string) ([]string, error) {
	in := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	in.TrimLeadingSpace = true
	head, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("read its first line: %w", err)
	}
	at := slices.IndexFunc(head, func(h string) bool { return strings.EqualFold(strings.TrimSpace(h), name) })
	if at < 0 {
		return nil, fmt.Errorf("there is no column %s; there are %s", name, clip(strings.Join(head, ", "), 200))
	}
	var out []string
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if cell := strings.TrimSpace(row[at]); cell != "" {
			out = append(out, cell)
		}
	}
}

// server gives where mail is handed over, with what is secret.
func (p *notification) server(ctx context.Context, env *check.Env) (mail.Server, error) {
	s := p.Email
	out := mail.Server{Host: s.Host, Port: s.Port, TLS: s.mode(), User: s.User, Now: env.Now}
	if s.User != "" {
		password, err := env.Secret(ctx, s.Password)
		if err != nil {
			return out, err
		}
		out.Password = password.Reveal()
	}
	if s.CA == "" {
		return out, nil
	}
	const maxCA = 1 << 20
	text, err := readFile(ctx, env, s.CA, maxCA)
	if err != nil {
		return out, fmt.Errorf("read email.ca: %w", err)
	}
	if out.Roots = x509.NewCertPool(); !out.Roots.AppendCertsFromPEM(text) {
		return out, fmt.Errorf("email.ca: %s holds no certificate", s.CA)
	}
	return out, nil
}

// postman sends one message after the other over one session.
type postman struct {
	r       *round
	server  mail.Server
	session *mail.Session
	from    string
	// last is when the last message was begun, for the rate.
	last time.Time
}

// mail sends to every recipient of a target who has not taken the message. Each
// gets a message of their own: nobody sees the others.
func (r *round) mail(ctx context.Context, t target) error {
	people, err := r.p.people(ctx, r.env, t)
	if err != nil {
		return err
	}
	server, err := r.p.server(ctx, r.env)
	if err != nil {
		return err
	}
	from, err := mail.Address(r.p.Email.From)
	if err != nil {
		return err
	}
	m := &postman{r: r, server: server, from: from.Address}
	defer m.close()
	taken, refused, before := 0, 0, len(r.outcomes)
	var later error
	for _, who := range people {
		one, err := m.to(ctx, who)
		switch no, isRefusal := errors.AsType[*mail.Refused](err); {
		case isRefusal && no.Temporary() && (no.Stage == "RCPT" || no.Stage == "message"):
			// Greylisting concerns one recipient; the others are not kept waiting.
			one.state, one.said = "later", no.Error()
			later = cmp.Or(later, fmt.Errorf("%s is to be tried later: %w", who, err))
		case certain(err):
			r.refused = append(r.refused, fmt.Sprintf("%s: %d of %d recipients have taken it; %v", t, taken, len(people), err))
			return nil
		case err != nil:
			return fmt.Errorf("%d of %d recipients have taken it; %s: %w", taken, len(people), who, err)
		case one.state == receipt.Refused:
			refused++
		default:
			taken++
		}
		r.outcomes = append(r.outcomes, one)
	}
	name := t.String()
	r.facts["recipients."+name] = strconv.Itoa(len(people))
	r.facts["taken."+name] = strconv.Itoa(taken)
	r.facts["refused."+name] = strconv.Itoa(refused)
	if later != nil {
		return fmt.Errorf("%d of %d recipients have taken it; %w", taken, len(people), later)
	}
	if refused == len(people) || float64(refused) > float64(r.p.Email.MaxRefused)*float64(len(people)) {
		i := slices.IndexFunc(r.outcomes[before:], func(o mailed) bool { return o.state == receipt.Refused })
		r.refused = append(r.refused, fmt.Sprintf("%s: %d of %d recipients were refused, the first %s", name, refused, len(people), r.outcomes[before+i].said))
	}
	return nil
}

// certain tells that the server will take nothing from us: repeating changes
// nothing.
func certain(err error) bool {
	if no, ok := errors.AsType[*mail.Refused](err); ok {
		return !no.Temporary()
	}
	_, unoffered := errors.AsType[*mail.Unoffered](err)
	_, untrusted := errors.AsType[*mail.Untrusted](err)
	return unoffered || untrusted
}

func (m *postman) close() {
	if m.session != nil {
		m.session.Quit()
		m.session = nil
	}
}

// to sends to one recipient. An error ends the round: the server is gone, asks to
// come later, or may have taken a message.
func (m *postman) to(ctx context.Context, who string) (mailed, error) {
	r, to := m.r, toEmail+":"+who
	one := mailed{to: who, id: mail.MessageID(once(r.env), who, mail.Domain(m.from)), state: receipt.Taken}
	if entry, known := r.book.Get(to); known && entry.State == receipt.Taken {
		one.said, one.id = entry.Facts["queue"], entry.Facts["message_id"]
		return one, nil
	}
	letter := mail.Message{From: r.p.Email.From, To: who, ID: one.id, Date: r.env.Now(), Subject: r.subject(), Text: r.composed.message.Text}
	text, err := letter.Bytes()
	if err != nil {
		return one, err
	}
	if err := m.pace(ctx); err != nil {
		return one, err
	}
	a, err := r.record(ctx, to, func(ctx context.Context) answer { return m.hand(ctx, who, one.id, text) })
	if err = errors.Join(a.err, err); err != nil {
		return one, err
	}
	if one.said = a.facts["queue"]; a.miss != "" {
		one.state, one.said = receipt.Refused, a.miss
	}
	return one, nil
}

// hand hands one message over, in a new session if the old one has ended.
func (m *postman) hand(ctx context.Context, who, id string, text []byte) answer {
	for try := 1; ; try++ {
		reused := m.session != nil
		reply, err := m.send(ctx, who, text)
		if err == nil {
			return answer{facts: map[string]string{"queue": reply, "message_id": id}}
		}
		if _, unknown := errors.AsType[*mail.Unknown](err); unknown {
			return answer{err: err}
		}
		no, refused := errors.AsType[*mail.Refused](err)
		const closing = 421 // the server ends the session (RFC 5321, section 3.8)
		if reused && try < tries && ctx.Err() == nil && (!refused || no.Code == closing) {
			m.session.Close()
			m.session = nil
			continue
		}
		// What concerns one recipient is about them; the rest is about the server.
		if refused && !no.Temporary() && (no.Stage == "RCPT" || no.Stage == "message") {
			return answer{miss: no.Error()}
		}
		return answer{err: &unsent{err}}
	}
}

func (m *postman) send(ctx context.Context, who string, text []byte) (string, error) {
	if m.session == nil {
		session, err := mail.Dial(ctx, m.r.env.Dial, m.server)
		if err != nil {
			return "", err
		}
		m.session = session
	}
	return m.session.Send(m.from, who, text)
}

// pace keeps to the rate.
func (m *postman) pace(ctx context.Context) error {
	now := m.r.env.Now()
	if rate := m.r.p.Email.Rate; rate > 0 && !m.last.IsZero() {
		if wait := m.last.Add(time.Minute / time.Duration(rate)).Sub(now); wait > 0 {
			if err := m.r.env.Sleep(ctx, wait); err != nil {
				return fmt.Errorf("wait for the next message's turn: %w", err)
			}
			now = now.Add(wait)
		}
	}
	m.last = now
	return nil
}

// subject is the one that was given or the first line of the message.
func (r *round) subject() string {
	const most = 120
	if r.p.Email.Subject != "" {
		if r.p.Mode == "test" {
			return "[test] " + r.p.Email.Subject
		}
		return r.p.Email.Subject
	}
	first, _, _ := strings.Cut(r.composed.message.Text, "\n")
	return clip(strings.TrimSpace(strings.TrimRight(first, "\r")), most)
}

// evidence adds what became of every recipient: a few among the facts, all in an
// artefact.
func (r *round) evidence(o *check.Outcome) error {
	if len(r.outcomes) == 0 {
		return nil
	}
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	rows := [][]string{{"recipient", "state", "message_id", "server"}}
	for i, one := range r.outcomes {
		rows = append(rows, []string{one.to, string(one.state), one.id, one.said})
		if i < shown {
			o.Facts["mail."+one.to] = fmt.Sprintf("%s: %s (Message-ID %s)", one.state, one.said, one.id)
		}
	}
	if err := w.WriteAll(rows); err != nil {
		return err
	}
	kept, err := r.env.Store("recipients.csv", &out)
	if err != nil {
		return fmt.Errorf("keep the list of recipients: %w", err)
	}
	o.Artefacts = append(o.Artefacts, kept)
	return nil
}
