package record

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

// maxTar bounds what Unpack writes, in bytes.
const maxTar = 8 << 30

// Pack writes a bundle as a tar file. The same bundle gives the same bytes.
func Pack(w io.Writer, bundle fs.FS) error {
	out := tar.NewWriter(w)
	err := fs.WalkDir(bundle, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return packFile(out, bundle, name)
	})
	if err != nil {
		return fmt.Errorf("pack bundle: %w", err)
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("pack bundle: %w", err)
	}
	return nil
}

func packFile(out *tar.Writer, bundle fs.FS, name string) error {
	file, err := bundle.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no ordinary file", name)
	}
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: 0o644, Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err = io.Copy(out, file)
	return err
}

// Unpack writes the files of a tar file into an empty or new directory. Names that
// lead out of it, links and devices are errors, and so is more than 8 GiB.
func Unpack(r io.Reader, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("unpack bundle: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack bundle: %w", err)
	}
	defer root.Close()
	left := int64(maxTar)
	in := tar.NewReader(r)
	for {
		head, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil && (head.Typeflag != tar.TypeReg || !fs.ValidPath(head.Name)) {
			err = fmt.Errorf("%.200q is no ordinary file of a bundle", head.Name)
		}
		if err == nil {
			left -= head.Size
			err = unpackFile(root, head, in, left)
		}
		if err != nil {
			return fmt.Errorf("unpack bundle: %w", err)
		}
	}
}

func unpackFile(root *os.Root, head *tar.Header, in io.Reader, left int64) error {
	if left < 0 {
		return fmt.Errorf("it is larger than %d bytes", int64(maxTar))
	}
	if err := root.MkdirAll(path.Dir(head.Name), 0o755); err != nil {
		return err
	}
	out, err := root.OpenFile(head.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.CopyN(out, in, head.Size)
	return errors.Join(err, out.Close())
}
