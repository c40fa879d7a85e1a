package migrations

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres"
	"allclear.dev/allclear/internal/postgres/seal"
)

// prepare makes the base, holds it against production and finds what is pending.
func (s *stage) prepare(ctx context.Context) (string, error) {
	if failure, err := s.makeBase(ctx); err != nil || failure != "" {
		return failure, err
	}
	if failure, err := s.anonymise(ctx); err != nil || failure != "" {
		return failure, err
	}
	if err := s.vacuum(ctx); err != nil {
		return "", err
	}
	if failure, err := s.likeProduction(ctx); err != nil || failure != "" {
		return failure, err
	}
	var err error
	if s.tool, err = s.newTool(ctx); err != nil {
		return "", err
	}
	s.steps, err = s.tool.pending(ctx, s.base)
	s.report.Migrations = s.steps
	return "", err
}

// makeBase restores the backup into a database of our own, or takes the one that
// was given.
func (s *stage) makeBase(ctx context.Context) (string, error) {
	if !s.Base.IsZero() {
		address, err := s.env.Secret(ctx, s.Base)
		if err != nil {
			return "", err
		}
		given, err := postgres.Parse(address, s.env.Dial)
		if err != nil {
			return "", err
		}
		if given.Name() == s.production.Name() {
			return "base is the database itself: say another one, or restore a backup", nil
		}
		// What is done before the first clone, such as VACUUM, is done to a copy.
		copied, err := s.scratch.NewClone(ctx, given.Database())
		if err != nil {
			return "", err
		}
		s.drop = append(s.drop, copied)
		s.base, s.report.From = copied.Server, given.Name()
		return "", nil
	}
	file := s.From
	if file == "" {
		fact, ok := s.env.Ledger.Fact("backup.path")
		if !ok {
			return "", &check.NotSupplied{What: "a backup to restore: run postgres.backup before, or say from or base"}
		}
		file = fact
	}
	return s.restore(ctx, file)
}

func (s *stage) restore(ctx context.Context, file string) (string, error) {
	host, err := s.env.Host(s.On)
	if err != nil {
		return "", err
	}
	c, err := s.production.Open(ctx, postgres.Options{ReadOnly: true})
	if err != nil {
		return "", err
	}
	defer c.Close()
	like, err := c.Locale(ctx)
	if err != nil {
		return "", err
	}
	major, err := c.Major(ctx)
	if err != nil {
		return "", err
	}
	tools, err := postgres.FindTools(ctx, host, s.Bin, major)
	if err != nil {
		return "", err
	}
	base, err := s.scratch.NewScratch(ctx, like)
	if err != nil {
		return "", err
	}
	s.drop = append(s.drop, base)
	s.base, s.report.From = base.Server, file
	start := s.env.Now()
	readable, closeAgain, err := s.decrypted(ctx, file)
	if err != nil {
		return "", err
	}
	defer closeAgain()
	r, err := tools.Restore(ctx, base.Server, readable, s.Jobs, false)
	if err != nil {
		return "", err
	}
	failure, err := postgres.Failure(r)
	if failure != "" {
		failure = fmt.Sprintf("%s cannot be restored: %s", file, failure)
	}
	s.report.Restore = s.env.Now().Sub(start)
	s.say("restored %s in %s", file, s.report.Restore.Round(time.Millisecond))
	return failure, err
}

// decrypted gives a backup as it can be read: an encrypted one is opened in a folder
// of its own, which closeAgain removes.
func (s *stage) decrypted(ctx context.Context, file string) (readable string, closeAgain func(), err error) {
	closeAgain = func() {}
	if !strings.HasSuffix(file, ".age") {
		return file, closeAgain, nil
	}
	if s.On != "" && s.On != "local" {
		return "", closeAgain, fmt.Errorf("%s is encrypted and on %s; it can be opened on the machine where allclear runs", file, s.On)
	}
	if s.Identity.IsZero() {
		return "", closeAgain, &check.NotSupplied{What: "the private key of the encrypted backup (identity)"}
	}
	identity, err := s.env.Secret(ctx, s.Identity)
	if err != nil {
		return "", closeAgain, err
	}
	folder, err := os.MkdirTemp("", "allclear-opened-")
	if err != nil {
		return "", closeAgain, fmt.Errorf("make a folder for the backup: %w", err)
	}
	closeAgain = func() { _ = os.RemoveAll(folder) }
	if !filepath.IsAbs(file) {
		file = filepath.Join(s.env.Dir, file)
	}
	readable = filepath.Join(folder, "backup.dump")
	if _, err := seal.Open(ctx, file, readable, identity); err != nil {
		return "", closeAgain, fmt.Errorf("open the encrypted backup: %w", err)
	}
	return readable, closeAgain, nil
}

func (s *stage) anonymise(ctx context.Context) (string, error) {
	if len(s.Anonymise) == 0 {
		return "", nil
	}
	failure, err := s.program(ctx, s.base, s.Anonymise)
	if failure != "" {
		failure = "anonymise: " + failure
	}
	return failure, err
}

// vacuum gives the base the statistics and the visibility map that a restore does
// not: without them the first scan would take another time than production's.
func (s *stage) vacuum(ctx context.Context) error {
	c, err := s.base.Open(ctx, postgres.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Script(ctx, "VACUUM ANALYZE"); err != nil {
		return fmt.Errorf("vacuum the copy: %w", err)
	}
	return nil
}

// settingsSQL lists what decides how long a migration takes and what it does.
const settingsSQL = `SELECT name, setting FROM pg_settings WHERE name IN ('work_mem', 'maintenance_work_mem', 'max_parallel_maintenance_workers',
	'TimeZone', 'default_toast_compression', 'shared_buffers', 'wal_level', 'fsync', 'synchronous_commit', 'full_page_writes')
UNION ALL SELECT 'extension ' || extname, extversion FROM pg_extension
UNION ALL SELECT 'encoding', pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()
UNION ALL SELECT 'collation', datcollate || coalesce(' ' || datcollversion, '') FROM pg_database WHERE datname = current_database() ORDER BY 1`

// bulkSQL lists tables with their size in bytes and about how many rows they have.
const bulkSQL = `SELECT CASE WHEN n.nspname = 'public' THEN '' ELSE n.nspname || '.' END || c.relname, pg_total_relation_size(c.oid),
	greatest(c.reltuples, s.n_live_tup, 0)::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'allclear')`

// likeProduction holds the copy against production: another major version proves
// nothing, other settings are told, and too few rows fail.
func (s *stage) likeProduction(ctx context.Context) (string, error) {
	here, err := measure(ctx, s.base)
	if err != nil {
		return "", err
	}
	there, err := measure(ctx, s.production)
	if err != nil {
		return "", err
	}
	if here.major != there.major {
		return "", fmt.Errorf("the copy is on PostgreSQL %d, production on %d: what is seen there proves nothing here", here.major, there.major)
	}
	for name, value := range there.settings {
		if here.settings[name] != value {
			s.report.Settings = append(s.report.Settings, fmt.Sprintf("%s: %s, production %s", name, here.settings[name], value))
		}
	}
	s.sizes = map[string][2]int64{}
	for table, size := range there.sizes {
		s.sizes[table] = [2]int64{here.sizes[table], size}
	}
	for table, size := range here.sizes {
		if _, both := s.sizes[table]; !both {
			s.sizes[table] = [2]int64{size, size}
		}
	}
	s.report.Rows, s.report.ProductionRows = here.rows, there.rows
	if s.MinRowsRatio == 0 {
		return "", nil
	}
	if there.rows == 0 {
		return "", errors.New("production's number of rows is not known: ANALYZE has never run")
	}
	if ratio := float64(here.rows) / float64(there.rows); ratio < float64(s.MinRowsRatio) {
		return fmt.Sprintf("the copy has %d rows, production about %d: %.0f %%, want at least %.0f %%", here.rows, there.rows, 100*ratio, 100*float64(s.MinRowsRatio)), nil
	}
	return "", nil
}

// bulk is what a database has to work through, and with what.
type bulk struct {
	major    int
	settings map[string]string
	sizes    map[string]int64
	rows     int64
}

func measure(ctx context.Context, server *postgres.Server) (bulk, error) {
	b := bulk{settings: map[string]string{}, sizes: map[string]int64{}}
	c, err := server.Open(ctx, postgres.Options{ReadOnly: true, Plain: true})
	if err != nil {
		return b, err
	}
	defer c.Close()
	if b.major, err = c.Major(ctx); err != nil {
		return b, err
	}
	settings, err := c.Query(ctx, 1000, settingsSQL)
	if err != nil {
		return b, fmt.Errorf("read settings: %w", err)
	}
	for _, r := range settings.Rows {
		b.settings[r[0].Text] = r[1].Text
	}
	tables, err := c.Query(ctx, 100_000, bulkSQL)
	if err != nil {
		return b, fmt.Errorf("read sizes: %w", err)
	}
	for _, r := range tables.Rows {
		size, errSize := strconv.ParseInt(r[1].Text, 10, 64)
		rows, errRows := strconv.ParseInt(r[2].Text, 10, 64)
		if err := errors.Join(errSize, errRows); err != nil {
			return b, fmt.Errorf("read sizes: %w", err)
		}
		b.sizes[r[0].Text] = size
		b.rows += rows
	}
	return b, nil
}
