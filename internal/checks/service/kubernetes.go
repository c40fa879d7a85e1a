package service

import "strings"

// workload gives what kind of object a unit is and its name.
func (u *unit) workload() (kind, name string) {
	kind, name, found := strings.Cut(u.Name, "/")
	if !found {
		return "deployment", u.Name
	}
	return kind, name
}
