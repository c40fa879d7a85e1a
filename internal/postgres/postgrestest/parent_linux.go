package postgrestest

import "syscall"

// dieWithParent ends the server when the test binary dies without stopping it.
func dieWithParent(who *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: who, Pdeathsig: syscall.SIGQUIT}
}
