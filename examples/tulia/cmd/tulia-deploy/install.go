package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// install writes a release's directory, whole or not at all, from the artefact tulia-VERSION beside this program. One
// that is there and runs as that version is left alone.
func (s *site) install(ctx context.Context, version string) error {
	if !filepath.IsLocal(version) || filepath.Base(version) != version {
		return fmt.Errorf("%q is no version", version)
	}
	dir := filepath.Join(s.Releases, version)
	if _, err := os.Stat(dir); err == nil {
		if out, err := exec.CommandContext(ctx, filepath.Join(dir, "bin/tulia"), "version").CombinedOutput(); err != nil {
			return fmt.Errorf("%s is there, but does not run: %w: %s", dir, err, out)
		}
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the artefacts: %w", err)
	}
	unfinished, err := os.MkdirTemp(s.Run, "install-*.tmp")
	if err != nil {
		return fmt.Errorf("create the release directory: %w", err)
	}
	defer os.RemoveAll(unfinished)
	if out, err := exec.CommandContext(ctx, filepath.Join(filepath.Dir(self), "tulia-"+version), "export-release", unfinished).CombinedOutput(); err != nil {
		return fmt.Errorf("install %s: %w: %s", version, err, out)
	}
	if err := os.Chmod(unfinished, 0o755); err != nil {
		return fmt.Errorf("open the release directory: %w", err)
	}
	if err := os.Rename(unfinished, dir); err != nil {
		return fmt.Errorf("put the release directory in its place: %w", err)
	}
	return nil
}
