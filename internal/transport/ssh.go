package transport

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
)

// SSH is a machine that the system's own ssh program reaches: the user's
// configuration, agent, known hosts and jumps all count.
type SSH struct {
	// To is a name of the user's configuration, host or user@host.
	To   string `json:"to"`
	Port int    `json:"port,omitempty"`
	// Identity is a private key's file, Jump what ProxyJump takes, and Config a file
	// instead of the user's own configuration. Each is left to ssh when empty.
	Identity string `json:"identity,omitempty"`
	Jump     string `json:"jump,omitempty"`
	Config   string `json:"config,omitempty"`
}

// userName is what a POSIX system takes as a user's name.
var userName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*\$?$`)

// via gives the ssh program with options of ssh_config(5): nobody is asked
// anything, a dead connection ends, and one connection carries all programs of
// the host and closes a minute after the last one. Whether an unknown host's key
// is taken stays the user's own choice.
func (s *SSH) via(_ context.Context, user string) ([]string, error) {
	argv := []string{
		"ssh", "-T", "-oBatchMode=yes", "-oConnectTimeout=10", "-oServerAliveInterval=15", "-oServerAliveCountMax=3",
		"-oClearAllForwardings=yes", "-oEscapeChar=none", "-oRequestTTY=no", "-oPermitLocalCommand=no",
	}
	if dir, err := controlDir(); err == nil {
		argv = append(argv, "-oControlMaster=auto", "-oControlPersist=60", "-oControlPath="+filepath.Join(dir, "%C"))
	} else { // slower, and as right
		argv = append(argv, "-oControlMaster=no", "-oControlPath=none")
	}
	if s.Config != "" {
		argv = append(argv, "-F", s.Config)
	}
	if s.Port != 0 {
		argv = append(argv, "-p", strconv.Itoa(s.Port))
	}
	if s.Identity != "" {
		argv = append(argv, "-oIdentitiesOnly=yes", "-i", s.Identity)
	}
	if s.Jump != "" {
		argv = append(argv, "-J", s.Jump)
	}
	command := "exec "
	if user != "" {
		if !userName.MatchString(user) {
			return nil, fmt.Errorf("%q is not a user's name", user)
		}
		command += "sudo -n -H -u " + user + " -- "
	}
	return append(argv, "--", s.To, command+"sh -c "+quote(reader)), nil
}

// controlDir is where ssh keeps the sockets of its connections: a folder that only
// this user can enter, so that nobody else speaks over them. Its path is short,
// because a socket's may have 108 bytes (unix(7)).
func controlDir() (string, error) {
	base := os.Getenv("XDG_RUNTIME_DIR")
	const longest = 30
	if base == "" || len(base) > longest {
		base = "/tmp"
	}
	dir := filepath.Join(base, "allclear-"+strconv.Itoa(os.Getuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || info.Mode().Perm() != 0o700 || int(st.Uid) != os.Getuid() {
		return "", fmt.Errorf("%s is not a private folder", dir)
	}
	return dir, nil
}
