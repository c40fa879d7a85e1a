// Package redis is the way to a Redis server that the types about Redis and Celery
// share: address, password, TLS, one connection that ends with its context, and
// bounded answers.
package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	client "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/secret"
)

// Conn is one connection to a server. Close ends it.
type Conn = client.Client

// Server is a Redis server as parameters name it.
type Server struct {
	// URL is its redis:// or rediss:// address, without a password.
	URL string
	// Username and Password may be empty.
	Username string
	Password secret.Ref
}

// Check says what is wrong with the address, naming no parameter.
func (s Server) Check() error {
	u, err := url.Parse(s.URL)
	if err != nil || (u.Scheme != "redis" && u.Scheme != "rediss") || u.Host == "" {
		return errors.New("want redis://host:port or rediss://host:port")
	}
	if _, has := u.User.Password(); has {
		return errors.New("a password belongs in password, not in the address")
	}
	_, err = client.ParseURL(s.URL)
	return err
}

// Database is the number of the database that the address names.
func (s Server) Database() (int, error) {
	options, err := client.ParseURL(s.URL)
	if err != nil {
		return 0, err
	}
	return options.DB, nil
}

// Connect gives a connection, which is opened by the first command. It ends when
// ctx does, and when the server announces or sends more than an honest one would.
func (s Server) Connect(ctx context.Context, env *check.Env) (*Conn, error) {
	options, err := client.ParseURL(s.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if s.Username != "" {
		options.Username = s.Username
	}
	if !s.Password.IsZero() {
		password, err := env.Secret(ctx, s.Password)
		if err != nil {
			return nil, err
		}
		options.Password = password.Reveal()
	}
	trust := options.TLSConfig
	if trust != nil {
		trust.Time = env.Now
	}
	// The run's context alone ends the connection: the client's own deadlines do
	// not see a cancelled run.
	options.Dialer = func(_ context.Context, network, address string) (net.Conn, error) {
		conn, err := env.Dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = conn.Close() })
		if trust != nil {
			secured := tls.Client(conn, trust)
			if err := secured.HandshakeContext(ctx); err != nil {
				return nil, errors.Join(err, conn.Close())
			}
			conn = secured
		}
		return &guardedConn{Conn: conn}, nil
	}
	options.Protocol, options.MaxRetries, options.PoolSize = 2, -1, 1
	options.DialerRetries, options.ReadTimeout, options.WriteTimeout, options.DisableIdentity = 1, -1, -1, true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return client.NewClient(options), nil
}

// Explain names the usual reasons for which a server does not answer what.
func (s Server) Explain(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s %s: %w", what, s.URL, context.Cause(ctx))
	}
	text := err.Error()
	switch {
	case strings.HasPrefix(text, "NOAUTH"):
		return fmt.Errorf("%s %s: the server wants a password: set password", what, s.URL)
	case strings.HasPrefix(text, "WRONGPASS"):
		return fmt.Errorf("%s %s: the server refuses the user or password", what, s.URL)
	case strings.HasPrefix(text, "NOPERM"):
		return fmt.Errorf("%s %s: the user may not run this command", what, s.URL)
	}
	return fmt.Errorf("%s %s: %w", what, s.URL, err)
}

// IsNil reports whether a command found nothing, as one that waits does at the end
// of its time.
func IsNil(err error) bool { return errors.Is(err, client.Nil) }
