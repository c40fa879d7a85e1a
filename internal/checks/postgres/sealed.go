package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/postgres/seal"
)

// sealedSuffix is what the name of an encrypted archive ends with.
const sealedSuffix = ".age"

// validateSeal holds what goes with encryption, which is done where allclear runs.
func (p *backup) validateSeal() error {
	if len(p.EncryptTo) == 0 {
		return nil
	}
	switch {
	case p.Mode != "create":
		return errors.New("encrypt_to: goes with mode: create; to read an encrypted backup say identity")
	case p.Format != formatCustom:
		return errors.New("encrypt_to: goes with format: custom, which is one file")
	case p.On != "" && p.On != "local":
		return errors.New("encrypt_to: encrypts on the machine where allclear runs; leave on out")
	}
	if _, err := seal.Recipients(p.EncryptTo); err != nil {
		return fmt.Errorf("encrypt_to: %w", err)
	}
	return nil
}

// seal encrypts a proven archive, in the place of the plain one. With the identity
// it is opened again and compared.
func (p *backup) seal(ctx context.Context, env *check.Env, partial string, s *sidecar) (string, error) {
	if len(p.EncryptTo) == 0 {
		return "", nil
	}
	plain, sealed := within(env, partial), within(env, partial)+sealedSuffix
	if err := seal.Close(ctx, plain, sealed, p.EncryptTo); err != nil {
		return "", fmt.Errorf("encrypt the backup: %w", err)
	}
	s.Plain, s.SealedTo, s.Path = s.SHA256, p.EncryptTo, s.Path+sealedSuffix
	host, err := env.Host(p.On)
	if err != nil {
		return "", err
	}
	if s.Bytes, s.SHA256, err = measure(ctx, host, partial+sealedSuffix); err == nil {
		err = os.Rename(sealed, plain) // the plain one is gone with this
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(sealed))
	}
	if p.Identity.IsZero() {
		return "", nil
	}
	opened := *s
	opened.Path = partial
	_, wrong, closeAgain, err := p.open(ctx, env, opened)
	closeAgain()
	if wrong != "" {
		wrong = "the encrypted backup is not good: " + wrong
	}
	return wrong, err
}

// open gives an archive as it can be read: an encrypted one is decrypted beside,
// readable for nobody else, until closeAgain removes that. The text says what is
// wrong with it.
func (p *place) open(ctx context.Context, env *check.Env, s sidecar) (opened sidecar, wrong string, closeAgain func(), err error) {
	closeAgain = func() {}
	if len(s.SealedTo) == 0 {
		return s, "", closeAgain, nil
	}
	if p.On != "" && p.On != "local" {
		return s, "", closeAgain, fmt.Errorf("%s is encrypted and on %s; it can be opened on the machine where allclear runs", s.Path, p.On)
	}
	if p.Identity.IsZero() {
		return s, "", closeAgain, &check.NotSupplied{What: "the private key of the encrypted backup (identity)"}
	}
	identity, err := env.Secret(ctx, p.Identity)
	if err != nil {
		return s, "", closeAgain, err
	}
	plain, err := os.CreateTemp(filepath.Dir(within(env, s.Path)), ".opened-*")
	if err == nil {
		err = errors.Join(plain.Close(), os.Remove(plain.Name()))
	}
	if err != nil {
		return s, "", closeAgain, fmt.Errorf("open the encrypted backup: %w", err)
	}
	closeAgain = func() { _ = os.Remove(plain.Name()) } // it may never have been made
	sum, err := seal.Open(ctx, within(env, s.Path), plain.Name(), identity)
	if broken, ok := errors.AsType[*seal.Broken](err); ok {
		return s, broken.Error(), closeAgain, nil
	}
	if err != nil {
		return s, "", closeAgain, fmt.Errorf("open the encrypted backup: %w", err)
	}
	if sum != s.Plain {
		return s, fmt.Sprintf("what is in it has SHA-256 %.12s, was made with %.12s", sum, s.Plain), closeAgain, nil
	}
	opened = s
	opened.Path = plain.Name()
	return opened, "", closeAgain, nil
}

// within gives a path of this machine, which starts from the checkout.
func within(env *check.Env, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(env.Dir, file)
}
