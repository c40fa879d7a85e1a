package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	tulia "allclear.dev/allclear/examples/tulia"
	"allclear.dev/allclear/examples/tulia/migrations"
	"allclear.dev/allclear/examples/tulia/static"
)

// release describes a build.
type release struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Schema   int64  `json:"schema_needed"`
}

func describe() (release, error) {
	needed, err := migrations.Needed()
	return release{Version: version, Revision: revision, Schema: needed}, err
}

func printVersion(out io.Writer) error {
	r, err := describe()
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}

// exportRelease writes this build's release directory, which must not exist or be empty.
func exportRelease(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: tulia export-release DIR")
	}
	dir := args[0]
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty", dir)
	}
	for _, sub := range []string{"bin", "migrations", "static"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return fmt.Errorf("create release directory: %w", err)
		}
	}
	if err := copyFiles(migrations.Files, filepath.Join(dir, "migrations")); err != nil {
		return err
	}
	if err := copyFiles(static.Files, filepath.Join(dir, "static")); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, ".env.example"), []byte(tulia.EnvExample), 0o644); err != nil {
		return fmt.Errorf("write settings example: %w", err)
	}
	if err := copySelf(filepath.Join(dir, "bin", "tulia")); err != nil {
		return err
	}
	var description bytes.Buffer
	if err := printVersion(&description); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "release.json"), description.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write release.json: %w", err)
	}
	return nil
}

// exportStatic writes this build's static files, again if they are there.
func exportStatic(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: tulia export-static DIR")
	}
	if err := os.MkdirAll(args[0], 0o755); err != nil {
		return fmt.Errorf("create the folder of static files: %w", err)
	}
	return copyFiles(static.Files, args[0])
}

func copyFiles(from fs.FS, dir string) error {
	names, err := fs.Glob(from, "*")
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	for _, name := range names {
		content, err := fs.ReadFile(from, name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

func copySelf(to string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own binary: %w", err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		return fmt.Errorf("read own binary: %w", err)
	}
	if err := os.WriteFile(to, content, 0o755); err != nil { // #nosec G703 -- the path is the operator's own
		return fmt.Errorf("write binary: %w", err)
	}
	return nil
}
