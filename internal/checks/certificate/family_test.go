package certificate_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// family is an authority: a root and an intermediate.
type family struct {
	root, middle       *x509.Certificate
	rootKey, middleKey *ecdsa.PrivateKey
}

// leaf says what is special about a certificate; days are from now on.
type leaf struct {
	from, days int
	names      []string
	client     bool
}

// issued is a certificate with what may be sent beside it.
type issued struct {
	cert         *x509.Certificate
	key          *ecdsa.PrivateKey
	middle, root *x509.Certificate
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func authority(common string, days int) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: common}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(0, 0, days),
	}
}

func newFamily(t *testing.T) *family {
	t.Helper()
	f := &family{rootKey: newKey(t), middleKey: newKey(t)}
	root := authority("Root", 1000)
	f.root = sign(t, root, root, &f.rootKey.PublicKey, f.rootKey)
	f.middle = sign(t, authority("Intermediate", 400), f.root, &f.middleKey.PublicKey, f.rootKey)
	return f
}

func (f *family) write(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.root.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (f *family) leaf(t *testing.T, l leaf) issued {
	t.Helper()
	if l.days == 0 {
		l.days = 90
	}
	if l.names == nil {
		l.names = []string{name, "www." + name}
	}
	usage := x509.ExtKeyUsageServerAuth
	if l.client {
		usage = x509.ExtKeyUsageClientAuth
	}
	from := time.Now().Add(-time.Hour)
	if l.from != 0 {
		from = time.Now().AddDate(0, 0, l.from)
	}
	key := newKey(t)
	cert := sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: l.names[0]}, DNSNames: l.names, ExtKeyUsage: []x509.ExtKeyUsage{usage},
		NotBefore: from, NotAfter: time.Now().AddDate(0, 0, l.days), KeyUsage: x509.KeyUsageDigitalSignature,
	}, f.middle, &key.PublicKey, f.middleKey)
	return issued{cert, key, f.middle, f.root}
}

func selfSigned(t *testing.T) issued {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "self"}, DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 0, 90),
	}
	return issued{cert: sign(t, template, template, &key.PublicKey, key), key: key}
}

func (i issued) sent(more ...*x509.Certificate) tls.Certificate {
	out := tls.Certificate{PrivateKey: i.key, Certificate: [][]byte{i.cert.Raw}}
	for _, c := range more {
		out.Certificate = append(out.Certificate, c.Raw)
	}
	return out
}

func (i issued) alone() tls.Certificate    { return i.sent() }
func (i issued) full() tls.Certificate     { return i.sent(i.middle) }
func (i issued) withRoot() tls.Certificate { return i.sent(i.middle, i.root) }

func fingerprint(i issued) string {
	sum := sha256.Sum256(i.cert.Raw)
	return hex.EncodeToString(sum[:])
}

// stapled gives a certificate with an OCSP answer that is valid for a while.
func (f *family) stapled(t *testing.T, i issued, status int, valid time.Duration) tls.Certificate {
	t.Helper()
	answer, err := ocsp.CreateResponse(f.middle, f.middle, ocsp.Response{
		Status: status, SerialNumber: i.cert.SerialNumber, RevokedAt: time.Now().Add(-time.Hour),
		ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: time.Now().Add(valid),
	}, f.middleKey)
	if err != nil {
		t.Fatal(err)
	}
	out := i.full()
	out.OCSPStaple = answer
	return out
}

func serve(t *testing.T, c tls.Certificate) string {
	t.Helper()
	return serveWith(t, &tls.Config{Certificates: []tls.Certificate{c}})
}

func serveAt(t *testing.T, address string, c tls.Certificate) string {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{c}}
	return rawAt(t, address, func(conn net.Conn) { _ = tls.Server(conn, config).Handshake() })
}

func serveWith(t *testing.T, config *tls.Config) string {
	t.Helper()
	return raw(t, func(conn net.Conn) {
		_ = tls.Server(conn, config).Handshake()
		_, _ = conn.Read(make([]byte, 1))
	})
}

func raw(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	return rawAt(t, "127.0.0.1:0", serve)
}

// rawAt is a TCP server whose every connection is given to serve.
func rawAt(t *testing.T, address string, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	return l.Addr().String()
}
