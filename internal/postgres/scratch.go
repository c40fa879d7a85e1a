package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ScratchPrefix begins the name of every database that we may drop.
const ScratchPrefix = "allclear_scratch_"

// dropTimeout bounds dropping a scratch database after its user has gone.
const dropTimeout = 30 * time.Second

// Scratch is a database of our own, empty when made.
type Scratch struct {
	*Server
	admin *Server
	// owner is a session that has a lock in the database's name as long as whoever
	// made it lives: what is left without one is anybody's to drop.
	owner *Conn
}

// NewScratch creates an empty database with a new name on s's server, with the
// encoding and collation of the database like. It never reuses one.
func (s *Server) NewScratch(ctx context.Context, like Locale) (*Scratch, error) {
	return s.own(ctx, func(name string) error { return s.CreateDatabase(ctx, name, like) })
}

// ownedBy is the first half of the advisory locks that owners have; the second is
// the hash of the database's name.
const ownedBy = "1634495587" // "allc"

// own makes a database of our own under a lock that says so. Before, it drops those
// whose makers have died.
func (s *Server) own(ctx context.Context, create func(name string) error) (*Scratch, error) {
	owner, err := s.Open(ctx, Options{})
	if err != nil {
		return nil, err
	}
	name := scratchName()
	err = owner.dropOrphans(ctx)
	if err == nil {
		_, err = owner.Exec(ctx, "SELECT pg_advisory_lock("+ownedBy+", hashtext($1))", name)
	}
	if err == nil {
		err = create(name)
	}
	if err != nil {
		owner.Close()
		return nil, err
	}
	return &Scratch{Server: s.In(name), admin: s, owner: owner}, nil
}

// dropOrphans drops the databases of ours that nobody has a lock for. The locks of
// all of a server's databases are looked at, whichever the maker was connected to.
func (c *Conn) dropOrphans(ctx context.Context) error {
	t, err := c.Query(ctx, 1000, `SELECT datname FROM pg_database d WHERE datname LIKE 'allclear\_scratch\_%' AND pg_has_role(datdba, 'USAGE')
		AND NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND classid = `+ownedBy+`::oid AND objid::bigint = hashtext(d.datname)::bigint & 4294967295)`)
	if err != nil {
		return fmt.Errorf("look for databases left behind: %w", err)
	}
	for _, row := range t.Rows {
		name := row[0].Text
		if err := c.terminate(ctx, name); err != nil {
			return err
		}
		// Somebody else may drop it at the same time, or still be copying it.
		if _, err := c.Exec(ctx, "DROP DATABASE IF EXISTS "+Quote(name)); err != nil && Code(err) == "" {
			return fmt.Errorf("drop database %s, which was left behind: %w", name, err)
		}
	}
	return nil
}

// scratchName is a name that no database has yet.
func scratchName() string {
	random := make([]byte, 6)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	return ScratchPrefix + time.Now().UTC().Format("20060102_150405_") + hex.EncodeToString(random)
}

// Locale is how a database stores and orders text. The zero value means the
// server's own.
type Locale struct{ Encoding, Collate, CType string }

// Locale asks how the session's database stores and orders text.
func (c *Conn) Locale(ctx context.Context) (Locale, error) {
	t, err := c.Query(ctx, 1, "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = current_database()")
	if err != nil {
		return Locale{}, fmt.Errorf("ask the locale: %w", err)
	}
	if len(t.Rows) != 1 {
		return Locale{}, errors.New("ask the locale: no row")
	}
	return Locale{Encoding: t.Rows[0][0].Text, Collate: t.Rows[0][1].Text, CType: t.Rows[0][2].Text}, nil
}

// CreateDatabase creates an empty database; one that exists is an error.
func (s *Server) CreateDatabase(ctx context.Context, name string, like Locale) error {
	c, err := s.Open(ctx, Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	sql := "CREATE DATABASE " + Quote(name) + " TEMPLATE template0"
	if like != (Locale{}) {
		sql += fmt.Sprintf(" ENCODING %s LC_COLLATE %s LC_CTYPE %s", Literal(like.Encoding), Literal(like.Collate), Literal(like.CType))
	}
	if _, err := c.Exec(ctx, sql); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}

// Drop removes the database, also when ctx has already ended.
func (s *Scratch) Drop(ctx context.Context) error {
	if !strings.HasPrefix(s.Database(), ScratchPrefix) {
		return fmt.Errorf("drop database %s: not one of ours", s.Database())
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	defer cancel()
	defer s.owner.Close()
	c, err := s.admin.Open(ctx, Options{})
	if err != nil {
		return fmt.Errorf("drop database %s: %w", s.Database(), err)
	}
	defer c.Close()
	if err := c.terminate(ctx, s.Database()); err != nil {
		return err
	}
	if _, err := c.Exec(ctx, "DROP DATABASE IF EXISTS "+Quote(s.Database())); err != nil {
		return fmt.Errorf("drop database %s: %w", s.Database(), err)
	}
	return nil
}

// terminate ends the other sessions of a database and waits until they are gone.
func (c *Conn) terminate(ctx context.Context, database string) error {
	_, err := c.Exec(ctx, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()", database)
	if Code(err) == UndefinedFunc { // the waiting form came with 14
		_, err = c.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()", database)
	}
	if err != nil {
		return fmt.Errorf("end the sessions of %s: %w", database, err)
	}
	return nil
}
