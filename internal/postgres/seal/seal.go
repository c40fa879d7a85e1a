// Package seal encrypts backups to people's keys with age (age-encryption.org/v1),
// and opens them again. Every 64 KiB of a sealed file is authenticated, so that one
// that was changed or cut does not open.
package seal

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"

	"allclear.dev/allclear/internal/secret"
)

// Recipients reads public keys: age1… or those of OpenSSH (ssh-ed25519, ssh-rsa).
// The error names the key by its place and never repeats it: it may be a private
// one.
func Recipients(keys []string) ([]age.Recipient, error) {
	if len(keys) == 0 {
		return nil, errors.New("no key to encrypt to")
	}
	var out []age.Recipient
	for i, key := range keys {
		var r age.Recipient
		var err error
		if strings.HasPrefix(key, "ssh-") {
			r, err = agessh.ParseRecipient(key)
		} else {
			r, err = age.ParseX25519Recipient(key)
		}
		if err != nil {
			return nil, fmt.Errorf("key %d is no public key of age (age1…) or OpenSSH (ssh-ed25519 …)", i+1)
		}
		out = append(out, r)
	}
	return out, nil
}

// identities reads private keys: lines of AGE-SECRET-KEY-1…, or one of OpenSSH
// without a passphrase.
func identities(value secret.Value) ([]age.Identity, error) {
	text := strings.TrimSpace(value.Reveal())
	if strings.HasPrefix(text, "-----BEGIN") {
		identity, err := agessh.ParseIdentity([]byte(text + "\n"))
		if err != nil {
			return nil, errors.New("the identity is no private key of OpenSSH without a passphrase")
		}
		return []age.Identity{identity}, nil
	}
	list, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil {
		return nil, errors.New("the identity is no private key of age (AGE-SECRET-KEY-1…) or OpenSSH")
	}
	return list, nil
}

// Sealed reports whether a file begins as sealed ones do.
func Sealed(head string) bool { return strings.HasPrefix(head, "age-encryption.org/") }

// Close encrypts the file plain into a new file, which is synced.
func Close(ctx context.Context, plain, sealed string, keys []string) (err error) {
	recipients, err := Recipients(keys)
	if err != nil {
		return err
	}
	return through(ctx, plain, sealed, func(in io.Reader, out io.Writer) error {
		w, err := age.Encrypt(out, recipients...)
		if err != nil {
			return fmt.Errorf("encrypt: %w", err)
		}
		if _, err := io.Copy(w, in); err != nil {
			return fmt.Errorf("encrypt: %w", err)
		}
		return w.Close()
	})
}

// Broken is a sealed file that was changed, cut, or is none.
type Broken struct{ why string }

// Error says how it is broken.
func (b *Broken) Error() string { return b.why }

// Open decrypts a sealed file into a new file, and gives the SHA-256 of what is in
// it. A file that is damaged is *Broken; an identity that is not one of its keys is
// another error.
func Open(ctx context.Context, sealed, plain string, identity secret.Value) (sum string, err error) {
	keys, err := identities(identity)
	if err != nil {
		return "", err
	}
	digest := sha256.New()
	err = through(ctx, sealed, plain, func(in io.Reader, out io.Writer) error {
		r, err := age.Decrypt(in, keys...)
		if wrong, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
			return fmt.Errorf("the identity is none of the keys that it was encrypted to (%d keys tried)", len(wrong.Errors))
		}
		if err != nil {
			return &Broken{"it is no whole age file: " + err.Error()}
		}
		if _, err := io.Copy(io.MultiWriter(out, digest), &noted{r}); err != nil {
			return err
		}
		return nil
	})
	return hex.EncodeToString(digest.Sum(nil)), err
}

// noted marks what goes wrong while decrypting as the file's fault.
type noted struct{ io.Reader }

// Read reads on; anything but the end is damage, found by its authentication.
func (n *noted) Read(p []byte) (int, error) {
	k, err := n.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		err = &Broken{"it was changed or cut since it was encrypted: " + err.Error()}
	}
	return k, err
}

// through reads one file and writes another, which is removed again when anything
// goes wrong.
func through(ctx context.Context, from, to string, work func(io.Reader, io.Writer) error) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			_ = os.Remove(to) // half of it is of no use
		}
	}()
	const room = 1 << 20
	buffered := bufio.NewWriterSize(out, room)
	if err := work(bufio.NewReaderSize(&interruptible{ctx, in}, room), buffered); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return out.Sync()
}

// interruptible ends reading with its context.
type interruptible struct {
	ctx context.Context
	io.Reader
}

// Read reads unless the context has ended.
func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.Reader.Read(p)
}
