package check

import (
	"context"
	"reflect"

	"allclear.dev/allclear/internal/secret"
)

// Examiner tells, without any effect, whether a type could do its work: whether
// its target, its credential and its permission are there. It says what it found;
// an error says what is missing and how to get it. A type that only reads needs
// none: it can be tried.
type Examiner interface {
	Examine(ctx context.Context, env *Env) (string, error)
}

// Secrets lists the references that the parameters hold.
func (i *Instance) Secrets() []secret.Ref {
	var out []secret.Ref
	seen := map[secret.Ref]bool{}
	collect(reflect.ValueOf(i.Runner), func(ref secret.Ref) {
		if !ref.IsZero() && !seen[ref] {
			seen[ref] = true
			out = append(out, ref)
		}
	})
	return out
}

// collect visits every reference below a value of decoded parameters, which hold
// no cycles.
func collect(v reflect.Value, visit func(secret.Ref)) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			collect(v.Elem(), visit)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[secret.Ref]() {
			visit(secret.Ref{Scheme: v.FieldByName("Scheme").String(), Name: v.FieldByName("Name").String()})
			return
		}
		for i := range v.NumField() {
			collect(v.Field(i), visit)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			collect(v.Index(i), visit)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			collect(v.MapIndex(key), visit)
		}
	}
}
