package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

func (d *demo) databaseURL() string {
	return "postgres://tulia@" + local(d.ports.postgres) + "/tulia?sslmode=disable"
}

func (d *demo) startServers(ctx context.Context) error {
	var err error
	if d.ports, err = freePorts(); err != nil {
		return err
	}
	if err := os.Chmod(d.dir, 0o755); err != nil { // PostgreSQL's user must get through
		return fmt.Errorf("open the temporary directory: %w", err)
	}
	for _, start := range []func(context.Context) error{
		d.makeAuthority, d.startPostgres, d.startRedis, d.startHAProxy, d.startMail, d.startNames, d.startVendors, d.startAlertmanager, d.startPrometheus,
	} {
		if err := start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// unprivileged is how to run PostgreSQL, which refuses to run as root.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("find the user of PostgreSQL: %w", err)
	}
	uid, badUID := strconv.ParseUint(u.Uid, 10, 32)
	gid, badGID := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(badUID, badGID, os.Chown(dir, int(uid), int(gid))); err != nil {
		return nil, fmt.Errorf("give PostgreSQL its directory: %w", err)
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

func (d *demo) startPostgres(ctx context.Context) error {
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.Sort(bins)
	if path, err := exec.LookPath("postgres"); len(bins) == 0 && err == nil {
		bins = append(bins, filepath.Dir(path))
	}
	if len(bins) == 0 {
		return errors.New("PostgreSQL is not installed: run scripts/packages")
	}
	d.psql = filepath.Join(bins[len(bins)-1], "psql")
	bin, dir := bins[len(bins)-1], filepath.Join(d.dir, "postgres")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("create PostgreSQL's directory: %w", err)
	}
	attr, err := unprivileged(dir)
	if err != nil {
		return err
	}
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", dir+"/data", "-U", "tulia", "-A", "trust", "--no-sync", "--locale=C", "-E", "UTF8")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", dir+"/data", "-k", dir, "-h", "127.0.0.1",
		"-p", strconv.Itoa(d.ports.postgres), "-c", "fsync=off")
	server.SysProcAttr, server.Dir = attr, dir
	if err := d.start("postgres", server); err != nil {
		return err
	}
	address := "postgres://tulia@" + local(d.ports.postgres) + "/postgres"
	return until(ctx, "PostgreSQL", 20*time.Second, func() error {
		_, err := d.run(ctx, d.dir, d.psql, "-qc", "CREATE DATABASE tulia", address)
		return err
	})
}

func (d *demo) startRedis(ctx context.Context) error {
	err := d.start("redis", exec.Command("redis-server", "--port", strconv.Itoa(d.ports.redis), "--bind", "127.0.0.1", "--save", "",
		"--appendonly", "no", "--maxmemory", "64mb", "--maxmemory-policy", "noeviction", "--dir", d.dir))
	if err != nil {
		return err
	}
	return until(ctx, "Redis", 10*time.Second, func() error { return answers("tcp", local(d.ports.redis)) })
}

func (d *demo) startHAProxy(ctx context.Context) error {
	deploy := filepath.Join(d.root, "examples/tulia/deploy")
	site, err := os.ReadFile(filepath.Join(deploy, "maintenance.map"))
	if err == nil {
		err = os.WriteFile(d.path("maintenance.map"), site, 0o644)
	}
	if err != nil {
		return fmt.Errorf("copy the maintenance map: %w", err)
	}
	program, err := exec.LookPath("haproxy")
	if err != nil {
		program = "/usr/sbin/haproxy" // not in everybody's PATH
	}
	cmd := exec.Command(program, "-db", "-f", filepath.Join(deploy, "haproxy.cfg"))
	cmd.Env = append(os.Environ(), "TULIA_PUBLIC="+local(d.ports.public), "TULIA_TLS="+local(d.ports.tls), "TULIA_CERTIFICATE="+d.path("tls/server.pem"),
		"TULIA_BLUE="+local(d.ports.blue), "TULIA_GREEN="+local(d.ports.green), "TULIA_HOST=127.0.0.1", "TULIA_BYPASS="+d.secret("bypass"), "TULIA_SOCKET="+d.path("haproxy.sock"), "TULIA_MAINTENANCE_MAP="+d.path("maintenance.map"))
	if err := d.start("haproxy", cmd); err != nil {
		return err
	}
	return until(ctx, "HAProxy", 10*time.Second, func() error { return answers("unix", d.path("haproxy.sock")) })
}

func answers(network, address string) error {
	conn, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }
