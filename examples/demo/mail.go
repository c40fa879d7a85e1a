package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"time"
)

// mailSettings are Exim's: TLS, a login, and a queue that nothing leaves.
const mailSettings = `primary_hostname = localhost
spool_directory = %[1]s/spool
log_file_path = %[1]s/%%slog
pid_file_path = %[1]s/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = %[2]d
tls_advertise_hosts = *
tls_certificate = %[1]s/cert.pem
tls_privatekey = %[1]s/key.pem
acl_smtp_rcpt = rcpt
queue_only
begin acl
rcpt:
  accept authenticated = *
  deny message = relay not permitted
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{tulia}}{eq{$auth3}{%[3]s}}}}
  server_set_id = $auth2
`

// startMail starts Debian's Exim as a mail server that takes messages and keeps them.
func (d *demo) startMail(ctx context.Context) error {
	dir := d.path("exim")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("create the mail server's directory: %w", err)
	}
	files := map[string]string{"exim.conf": fmt.Sprintf(mailSettings, dir, d.ports.smtp, d.secret("smtp"))}
	for _, name := range []string{"cert.pem", "key.pem"} {
		text, err := os.ReadFile(filepath.Join(d.path("tls"), name))
		if err != nil {
			return fmt.Errorf("read the certificate: %w", err)
		}
		files[name] = string(text)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write the mail server's settings: %w", err)
		}
	}
	if os.Geteuid() == 0 { // Exim gives root up and must then write there; the settings stay root's
		owner, err := user.Lookup("Debian-exim")
		if err != nil {
			return fmt.Errorf("find the user of Exim: %w", err)
		}
		uid, badUID := strconv.Atoi(owner.Uid)
		gid, badGID := strconv.Atoi(owner.Gid)
		err = errors.Join(badUID, badGID, os.Chmod(filepath.Join(dir, "exim.conf"), 0o644))
		for _, path := range []string{dir, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")} {
			err = errors.Join(err, os.Chown(path, uid, gid))
		}
		if err != nil {
			return fmt.Errorf("give Exim its directory: %w", err)
		}
	}
	if err := d.start("exim", exec.Command("/usr/sbin/exim4", "-C", filepath.Join(dir, "exim.conf"), "-bdf")); err != nil {
		return err
	}
	return until(ctx, "Exim", 10*time.Second, func() error { return answers("tcp", local(d.ports.smtp)) })
}

// zone is what DNS says of the application and of who may send its mail. %s is the key that signs mail.
const zone = `$TTL 300
@ IN SOA ns.tulia.example. operations.tulia.example. 1 3600 600 86400 60
@ IN NS ns.tulia.example.
ns IN A 127.0.0.1
api IN A 127.0.0.1
@ IN TXT "v=spf1 ip4:127.0.0.1 -all"
_dmarc IN TXT "v=DMARC1; p=quarantine"
s1._domainkey IN TXT ( "v=DKIM1; k=rsa; p=" %s )
`

const namesSettings = `server:
  ip-address: 127.0.0.1@%[1]d
  username: ""
  database: ""
  zonesdir: %[2]q
  pidfile: ""
  xfrdfile: "%[2]s/xfrd"
  zonelistfile: "%[2]s/list"
  xfrdir: %[2]q
  server-count: 1
remote-control:
  control-enable: no
zone:
  name: tulia.example
  zonefile: tulia.zone
`

// startNames starts NSD for the zone tulia.example.
func (d *demo) startNames(ctx context.Context) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return fmt.Errorf("write a key: %w", err)
	}
	public, dir := base64.StdEncoding.EncodeToString(der), d.path("nsd")
	text := fmt.Sprintf("%q %q", public[:200], public[200:]) // one text has at most 255 bytes
	err = errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "tulia.zone"), fmt.Appendf(nil, zone, text), 0o644),
		os.WriteFile(filepath.Join(dir, "nsd.conf"), fmt.Appendf(nil, namesSettings, d.ports.dns, dir), 0o644))
	if err != nil {
		return fmt.Errorf("write the zone: %w", err)
	}
	if err := d.start("nsd", exec.Command("/usr/sbin/nsd", "-d", "-c", filepath.Join(dir, "nsd.conf"))); err != nil {
		return err
	}
	names := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, local(d.ports.dns))
	}}
	return until(ctx, "NSD", 10*time.Second, func() error {
		_, err := names.LookupHost(ctx, "api.tulia.example.")
		return err
	})
}
