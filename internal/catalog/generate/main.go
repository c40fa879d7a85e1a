// Command generate writes docs/checks and docs/schema from the list of types and
// the structs of the configuration, so that what is documented is what is decoded.
// It is run from the repository's root: go run ./internal/catalog/generate
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"allclear.dev/allclear/internal/catalog"
)

func main() {
	if err := write("."); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// files gives every generated file by its path below the repository's root. The
// same types give the same bytes.
func files() (map[string][]byte, error) {
	types := catalog.Types()
	if err := catalog.Validate(types); err != nil {
		return nil, err
	}
	out := map[string][]byte{"docs/checks/README.md": index(types)}
	for _, t := range types {
		page, err := page(t)
		if err != nil {
			return nil, fmt.Errorf("page of %s: %w", t.Name, err)
		}
		out["docs/checks/"+t.Name+".md"] = page
	}
	var err error
	if out["docs/schema/checklist-block.schema.json"], err = blockSchema(types).encode(); err != nil {
		return nil, err
	}
	if out["docs/schema/allclear.schema.json"], err = configSchema().encode(); err != nil {
		return nil, err
	}
	return out, nil
}

// write makes the files below root and removes pages of types that are gone.
func write(root string) error {
	made, err := files()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(made)) {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("create folder: %w", err)
		}
		if err := os.WriteFile(path, made[name], 0o644); err != nil {
			return fmt.Errorf("write file: %w", err)
		}
	}
	stale, err := leftovers(root, made)
	if err != nil {
		return err
	}
	for _, name := range stale {
		if err := os.Remove(filepath.Join(root, filepath.FromSlash(name))); err != nil {
			return fmt.Errorf("remove old file: %w", err)
		}
	}
	return nil
}

// leftovers lists files in the generated folders that are not generated.
func leftovers(root string, made map[string][]byte) ([]string, error) {
	var out []string
	for _, folder := range []string{"docs/checks", "docs/schema"} {
		entries, err := os.ReadDir(filepath.Join(root, filepath.FromSlash(folder)))
		if err != nil {
			return nil, fmt.Errorf("list folder: %w", err)
		}
		for _, e := range entries {
			if name := folder + "/" + e.Name(); made[name] == nil && !e.IsDir() {
				out = append(out, name)
			}
		}
	}
	return out, nil
}
