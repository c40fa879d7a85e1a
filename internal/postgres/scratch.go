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
}

// NewScratch creates an empty database with a new name on s's server, with the
// encoding and collation of the database like. It never reuses one.
func (s *Server) NewScratch(ctx context.Context, like Locale) (*Scratch, error) {
	name := scratchName()
	if err := s.CreateDatabase(ctx, name, like); err != nil {
		return nil, err
	}
	return &Scratch{Server: s.In(name), admin: s}, nil
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
