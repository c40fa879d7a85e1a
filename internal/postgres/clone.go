package postgres

import (
	"context"
	"fmt"
)

const (
	// fileCopyMajor is the version from which on a clone can be told to copy files
	// (CREATE DATABASE … STRATEGY); before, there was no other way.
	fileCopyMajor = 15
	// fileCopyBytes is the size from which on copying files is faster, although it
	// makes the server write out everything first.
	fileCopyBytes = 64 << 20
)

// NewClone makes a database of our own with everything that a database on s's
// server holds, which nobody may be connected to. It copies files: on PostgreSQL
// 15 that took an eighth of the time of copying through the log for 667 MB.
func (s *Server) NewClone(ctx context.Context, template string) (*Scratch, error) {
	c, err := s.Open(ctx, Options{})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	major, err := c.Major(ctx)
	if err != nil {
		return nil, err
	}
	size, err := c.Int(ctx, "SELECT pg_database_size($1::name)", template)
	if err != nil {
		return nil, fmt.Errorf("ask the size of %s: %w", template, err)
	}
	return s.own(ctx, func(name string) error {
		sql := "CREATE DATABASE " + Quote(name) + " TEMPLATE " + Quote(template)
		if major >= fileCopyMajor && size >= fileCopyBytes {
			sql += " STRATEGY file_copy"
		}
		if _, err := c.Exec(ctx, sql); err != nil {
			return fmt.Errorf("clone database %s: %w", template, err)
		}
		return nil
	})
}
