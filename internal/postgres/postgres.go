// Package postgres is what the types about PostgreSQL share: sessions that end
// with their context, counts and digests of tables, a comparable form of the
// schema, scratch databases, the dump and restore programs, and the deployment
// lease that is kept in the target database.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"allclear.dev/allclear/internal/secret"
)

const (
	// connectTimeout bounds opening a session when the address does not say.
	connectTimeout = 10 * time.Second
	// cancelGrace is how long a server may take to give up a cancelled statement
	// before the connection is cut.
	cancelGrace = 2 * time.Second
	// applicationName is how our sessions show in pg_stat_activity.
	applicationName = "allclear"
	// maxMessage bounds one message of the protocol, so that a server cannot make
	// us hold more: 64 MiB.
	maxMessage = 64 << 20
)

// Dial opens a network connection; check.Env has one.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Server is a database to connect to: its address, credentials and the way there.
type Server struct {
	config *pgconn.Config
	// libpq is the address for PostgreSQL's own programs, without the password.
	libpq string
}

// Parse reads a database's address: a postgres:// URL or keyword=value pairs.
// Its errors never hold the address, which has a password in it.
func Parse(address secret.Value, dial Dial) (*Server, error) {
	if address.IsZero() {
		return nil, errors.New("the database's address is empty")
	}
	text := address.Reveal()
	if !strings.Contains(text, "://") && !strings.Contains(text, "=") {
		return nil, errors.New("the database's address is neither postgres://user@host/database nor host=… dbname=…")
	}
	text, libpq, err := libpqAddress(text)
	if err != nil {
		return nil, err
	}
	config, err := pgconn.ParseConfig(text)
	if err != nil {
		return nil, errUnreadable()
	}
	if config.Database == "" {
		return nil, errors.New("the database's address names no database")
	}
	if config.ConnectTimeout <= 0 {
		config.ConnectTimeout = connectTimeout
	}
	config.MaxProtocolMessageBodyLen = maxMessage
	config.RuntimeParams["application_name"] = applicationName
	config.DialFunc = pgconn.DialFunc(dial)
	config.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: cancelGrace}
	}
	return &Server{config: config, libpq: libpq}, nil
}

// In gives the same server with another database.
func (s *Server) In(database string) *Server {
	config := s.config.Copy()
	config.Database = database
	return &Server{config: config, libpq: s.libpq}
}

// Database is the database's name.
func (s *Server) Database() string { return s.config.Database }

// Name tells people which database this is: host:port/database, without
// credentials.
func (s *Server) Name() string {
	if strings.HasPrefix(s.config.Host, "/") {
		return s.config.Host + "/" + s.config.Database
	}
	return net.JoinHostPort(s.config.Host, strconv.Itoa(int(s.config.Port))) + "/" + s.config.Database
}

// Options are a session's settings.
type Options struct {
	// ReadOnly makes every transaction of the session refuse to write.
	ReadOnly bool
	// StatementTimeout ends a statement on the server; 0 means the server's setting.
	StatementTimeout time.Duration
	// LockTimeout ends a statement that waits longer than this for one lock; 0 means
	// the server's setting.
	LockTimeout time.Duration
	// Plain leaves the settings by which texts compare (time zone, date style) as
	// the server has them, for sessions that run other people's statements.
	Plain bool
}

// Open starts a session. It ends with Close; a context that ends cancels the
// statement that is running.
func (s *Server) Open(ctx context.Context, o Options) (*Conn, error) {
	pg, err := pgconn.ConnectConfig(ctx, s.config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", s.Name(), s.cause(ctx, err))
	}
	c := &Conn{pg: pg}
	if err := c.prepare(ctx, o); err != nil {
		c.Close()
		return nil, fmt.Errorf("prepare session on %s: %w", s.Name(), err)
	}
	return c, nil
}

// cause shortens a failed connection to what matters, without credentials.
func (s *Server) cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr
	}
	if netErr, ok := errors.AsType[*net.OpError](err); ok {
		return netErr
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", s.config.ConnectTimeout)
	}
	return errors.New(strings.ReplaceAll(err.Error(), "\n", " "))
}

// Reset gives a session its first settings back, whatever statements have set.
func (c *Conn) Reset(ctx context.Context, o Options) error {
	for _, sql := range []string{"RESET SESSION AUTHORIZATION", "RESET ALL"} {
		if _, err := c.Exec(ctx, sql); err != nil {
			return fmt.Errorf("reset session: %w", err)
		}
	}
	return c.prepare(ctx, o)
}

// prepare puts a session into the state in which texts compare: UTC, ISO dates,
// whole digits.
func (c *Conn) prepare(ctx context.Context, o Options) error {
	settings := [][2]string{{"client_encoding", "UTF8"}, {"idle_in_transaction_session_timeout", "0"}}
	if !o.Plain {
		settings = append(settings, [][2]string{
			{"DateStyle", "ISO, YMD"}, {"IntervalStyle", "postgres"}, {"TimeZone", "UTC"},
			{"extra_float_digits", "1"}, {"bytea_output", "hex"},
		}...)
	}
	if o.ReadOnly {
		settings = append(settings, [2]string{"default_transaction_read_only", "on"})
	}
	if o.StatementTimeout > 0 {
		settings = append(settings, [2]string{"statement_timeout", millis(o.StatementTimeout)})
	}
	if o.LockTimeout > 0 {
		settings = append(settings, [2]string{"lock_timeout", millis(o.LockTimeout)})
	}
	var calls, args []string
	for i, s := range settings {
		calls = append(calls, fmt.Sprintf("set_config($%d, $%d, false)", 2*i+1, 2*i+2))
		args = append(args, s[0], s[1])
	}
	_, err := c.Exec(ctx, "SELECT "+strings.Join(calls, ", "), args...)
	return err
}

// millis writes a duration as PostgreSQL reads it, never as 0, which means none.
func millis(d time.Duration) string {
	return strconv.FormatInt(max(1, d.Milliseconds()), 10) + "ms"
}

// Quote writes a name as an identifier of SQL.
func Quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Literal writes a text as a constant of SQL, for the statements that take no
// arguments.
func Literal(text string) string {
	quoted := "'" + strings.ReplaceAll(text, "'", "''") + "'"
	if strings.Contains(text, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}
