// Command tools runs the migrations of a folder with the real goose or
// golang-migrate, for the tests of the linter. It is a module of its own, so that
// allclear does not depend on either.
package main

import (
	"database/sql"
	"fmt"
	"os"
	"strings"

	"github.com/golang-migrate/migrate/v4"
	_ "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	_ "github.com/golang-migrate/migrate/v4/source/file"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: tools goose|golang-migrate FOLDER URL")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(tool, dir, url string) error {
	if tool == "golang-migrate" {
		m, err := migrate.New("file://"+dir, "pgx5"+strings.TrimPrefix(url, "postgres"))
		if err != nil {
			return err
		}
		return m.Up()
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	if err := goose.SetDialect("postgres"); err != nil {
		return err
	}
	return goose.Up(db, dir)
}
