// Package wire stands between a client and a PostgreSQL server and shows every
// statement to a watcher twice: before the server gets it, and when the server
// has carried it out while its transaction is still open, so that its locks can
// be read however short the transaction is. The client, which may be any
// migration tool, notices nothing.
//
// For a client that commits each statement by itself, a simple query is put into
// BEGIN and COMMIT, a text of several statements being taken apart, and with the
// extended protocol the Sync that would commit is held back (PostgreSQL manual,
// chapter 55.2, Message Flow).
package wire

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"allclear.dev/allclear/internal/postgres"
)

const (
	// maxMessage bounds one message in either direction, in bytes.
	maxMessage = 64 << 20
	// maxSessions bounds the clients at one time.
	maxSessions = 64
	// startTimeout bounds a client's log-in.
	startTimeout = 10 * time.Second
	// user is whom clients log in as; the session is the server's own user's.
	user = "rehearsal"
)

// Statement is one that a client sent.
type Statement struct {
	// Session and Transaction count from 1; PID is the server's process.
	Session, Transaction int
	PID                  uint32
	SQL                  string
	// Alone tells that it runs outside of transactions.
	Alone bool
	// Tag is the server's word for what it did; Code and Message are its refusal.
	Tag, Code, Message string
	// Start and Took are when it was sent and how long the answer took.
	Start time.Time
	Took  time.Duration
	// Notices are the server's remarks meanwhile.
	Notices []string
}

// Ask puts a question within the client's own session and transaction. It gives
// texts, empty for NULL.
type Ask func(ctx context.Context, sql string) ([][]string, error)

// Watcher is shown what clients do. Its calls come from one goroutine per client;
// an error ends the client's session and is the proxy's.
type Watcher interface {
	// Begin is called before the first statement of a transaction.
	Begin(ctx context.Context, session int, ask Ask) error
	// Starts is called before a statement is sent.
	Starts(ctx context.Context, st *Statement) error
	// Held is called when the server has answered and the transaction is still open.
	// There is nothing to ask of a statement that stood alone or was refused.
	Held(ctx context.Context, st *Statement, ask Ask) error
	// Ended is called after the transaction has ended.
	Ended(ctx context.Context, session, transaction int, committed bool) error
}

// Piece is one statement of a text.
type Piece struct {
	SQL string
	// Control begins or ends transactions; Alone is refused in one.
	Control, Alone bool
}

// Split takes a text apart. It gives nothing for what is not SQL, which the
// server is left to say.
type Split func(sql string) []Piece

// Proxy listens on the loopback until it is closed.
type Proxy struct {
	server   *postgres.Server
	watcher  Watcher
	split    Split
	settings map[string]string
	listener net.Listener
	password string

	mu       sync.Mutex
	err      error
	sessions map[int]*session
	count    int
	wait     sync.WaitGroup
	stop     context.CancelFunc
}

// Listen starts a proxy to a server's database. The settings count for every
// session, over those of the client. Close ends it.
func Listen(ctx context.Context, server *postgres.Server, watcher Watcher, split Split, settings map[string]string) (*Proxy, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for migrations: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	p := &Proxy{server: server, watcher: watcher, split: split, settings: settings, listener: listener, password: rand.Text(), sessions: map[int]*session{}, stop: stop}
	p.wait.Go(func() { p.accept(ctx) })
	context.AfterFunc(ctx, p.cut)
	return p, nil
}

// Address is the URL for clients; it holds a password of its own.
func (p *Proxy) Address() string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, p.password), Host: p.listener.Addr().String(), Path: "/" + p.server.Database(), RawQuery: "sslmode=disable"}
	return u.String()
}

// Close ends all sessions and tells what went wrong with watching: after an error
// what was seen is not complete.
func (p *Proxy) Close() error {
	p.stop()
	p.cut()
	p.wait.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *Proxy) cut() {
	_ = p.listener.Close() // accept ends with it
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.sessions {
		s.cut()
	}
}

// failed keeps the first error.
func (p *Proxy) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

func (p *Proxy) accept(ctx context.Context) {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
				p.failed(fmt.Errorf("accept a client: %w", err))
			}
			return
		}
		p.wait.Go(func() {
			defer func() { _ = conn.Close() }()
			p.serve(ctx, conn)
		})
	}
}

// serve logs a client in and carries its messages.
func (p *Proxy) serve(ctx context.Context, conn net.Conn) {
	s, err := p.welcome(ctx, conn)
	if err != nil || s == nil {
		return // a stranger, a cancel request, or a server that said no: the client has been told
	}
	defer p.leave(s)
	defer s.cut()
	if err := s.run(ctx); err != nil && ctx.Err() == nil {
		p.failed(err)
	}
}

func (p *Proxy) enter(s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sessions) >= maxSessions {
		return false
	}
	p.count++
	s.id = p.count
	p.sessions[s.id] = s
	return true
}

func (p *Proxy) leave(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sessions, s.id)
}

// refuse tells a client why it is not let in.
func refuse(client *pgproto3.Backend, code, message string) {
	client.Send(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code, Message: message})
	_ = client.Flush() // it may have gone
}
