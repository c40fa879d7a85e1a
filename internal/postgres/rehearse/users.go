package rehearse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"allclear.dev/allclear/internal/postgres"
)

// between is the pause of a reader or writer after each request.
const between = 2 * time.Millisecond

// Users are what an application would do to some tables: for each a reader and a
// writer that changes a row to what it was, each on a connection of its own, and
// one session that has read all of them and then does nothing.
type Users struct {
	cancel context.CancelFunc
	wait   sync.WaitGroup
	mu     sync.Mutex
	waits  []Wait
	err    error
}

// Wait is how one of the users fared.
type Wait struct {
	Table string `json:"table"`
	// Does is reads or writes.
	Does     string        `json:"does"`
	Requests int           `json:"requests"`
	Longest  time.Duration `json:"longest"`
	// Broken is the server's refusal of what it had served before: code that is
	// running would see it.
	Broken string `json:"broken,omitempty"`
}

// user is one reader or writer.
type user struct {
	table, does, sql string
}

// usersSQL gives for each of the tables the statement of its reader and, where it
// has a row, of its writer. A column of the key is set to itself; one that is
// always generated cannot be.
const usersSQL = `SELECT c.oid::regclass::text, format('SELECT 1 FROM %s LIMIT 1', c.oid::regclass),
	(SELECT format('UPDATE %1$s SET %2$I = %2$I WHERE ctid = (SELECT ctid FROM %1$s LIMIT 1)', c.oid::regclass, a.attname)
	 FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey)
	 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity <> 'a'
	 ORDER BY i.indexrelid IS NULL, a.attnum LIMIT 1)
FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.oid = ANY ($1::text::regclass[]) ORDER BY 1`

// Employ starts the users of the named tables on a database. The idle session
// ends its transaction after idle; sleep is the clock's.
func Employ(ctx context.Context, server *postgres.Server, tables []string, idle time.Duration, sleep func(context.Context, time.Duration) error) (*Users, error) {
	c, err := server.Open(ctx, postgres.Options{})
	if err != nil {
		return nil, err
	}
	list, err := c.Query(ctx, 1000, usersSQL, array(tables))
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("look for tables to use: %w", err)
	}
	var users []user
	reads := []string{"BEGIN"}
	for _, row := range list.Rows {
		users = append(users, user{row[0].Text, "reads", row[1].Text})
		reads = append(reads, row[1].Text)
		if !row[2].Null {
			users = append(users, user{row[0].Text, "writes", row[2].Text})
		}
	}
	if err := c.Script(ctx, strings.Join(reads, "; ")); err != nil {
		c.Close()
		return nil, fmt.Errorf("begin an idle transaction: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	u := &Users{cancel: cancel}
	u.wait.Go(func() {
		defer c.Close()
		_ = sleep(ctx, idle) // ended early or not: its transaction is over
	})
	for _, one := range users {
		conn, err := server.Open(ctx, postgres.Options{})
		if err != nil {
			_, _ = u.Dismiss()
			return nil, err
		}
		u.wait.Go(func() {
			defer conn.Close()
			u.work(ctx, conn, one, sleep)
		})
	}
	return u, nil
}

func array(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(n) + `"`
	}
	return "{" + strings.Join(quoted, ",") + "}"
}

// work sends one statement after the other. The request that is under way at the
// end counts as far as it has waited.
func (u *Users) work(ctx context.Context, conn *postgres.Conn, one user, sleep func(context.Context, time.Duration) error) {
	w := Wait{Table: one.table, Does: one.does}
	for ctx.Err() == nil {
		start := time.Now()
		_, err := conn.Exec(ctx, one.sql)
		w.Longest = max(w.Longest, time.Since(start))
		if code := postgres.Code(err); code != "" && ctx.Err() == nil {
			w.Broken = postgres.Message(err, "")
			break
		}
		if err != nil {
			u.lost(ctx, err)
			break
		}
		w.Requests++
		if sleep(ctx, between) != nil {
			break
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.waits = append(u.waits, w)
}

func (u *Users) lost(ctx context.Context, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if ctx.Err() == nil && u.err == nil {
		u.err = fmt.Errorf("use the database meanwhile: %w", err)
	}
}

// Dismiss ends all users and tells how they fared. No request at all is an error:
// nothing has been found out then.
func (u *Users) Dismiss() ([]Wait, error) {
	u.cancel()
	u.wait.Wait()
	for _, w := range u.waits {
		if w.Requests == 0 && w.Broken == "" && u.err == nil {
			u.err = errors.New("use the database meanwhile: no request was served")
		}
	}
	slices.SortFunc(u.waits, func(a, b Wait) int { return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Does, b.Does)) })
	return u.waits, u.err
}
