package transport

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// inherited names what a program may take over from allclear's own environment:
// enough to find programs, files and the locale, and nothing that changes how an
// interpreter or linker behaves.
func inherited() []string {
	return []string{"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR"}
}

// denied names variables that make a linker, shell or interpreter load code of
// someone's choosing, as in CVE-2014-6271 and the AcceptEnv rules of sshd.
func denied() []string {
	return []string{
		"BASH_ENV", "SHELLOPTS", "BASHOPTS", "PS4", "IFS", "PROMPT_COMMAND", "CDPATH", "GLOBIGNORE",
		"PERL5OPT", "PERL5DB", "PERL5LIB", "PERLLIB", "PYTHONSTARTUP", "PYTHONHOME", "PYTHONINSPECT",
		"RUBYOPT", "RUBYLIB", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS",
		"GCONV_PATH", "GLIBC_TUNABLES", "NLSPATH", "LOCPATH", "HOSTALIASES", "RES_OPTIONS",
	}
}

// environ gives a program's whole environment: the inherited part, the user's
// own, and what the command adds, each checked.
func environ(own, added []string) ([]string, error) {
	var env []string
	for _, name := range inherited() {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	for _, pair := range added {
		if err := validPair(pair); err != nil {
			return nil, err
		}
	}
	return append(append(env, own...), added...), nil
}

// validPair never shows the value, which may be a secret.
func validPair(pair string) error {
	name, value, found := strings.Cut(pair, "=")
	if !found || !validName(name) {
		return errors.New("an environment entry is not NAME=value")
	}
	if strings.ContainsRune(value, 0) {
		return fmt.Errorf("environment variable %s holds a NUL byte", name)
	}
	for _, prefix := range []string{"LD_", "DYLD_", "BASH_FUNC_"} {
		if strings.HasPrefix(name, prefix) {
			return fmt.Errorf("environment variable %s may not be set: it changes which code runs", name)
		}
	}
	if slices.Contains(denied(), name) {
		return fmt.Errorf("environment variable %s may not be set: it changes which code runs", name)
	}
	return nil
}

func validName(name string) bool {
	for i, r := range name {
		switch {
		case r == '_', r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z', i > 0 && r >= '0' && r <= '9':
		default:
			return false
		}
	}
	return name != ""
}
