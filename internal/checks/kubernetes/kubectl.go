package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"allclear.dev/allclear/internal/check"
)

// maxObjects bounds what kubectl may say, in bytes.
const maxObjects = 16 << 20

// thing is what is used of every object
// (kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta).
type thing struct {
	Kind string `json:"kind"`
	Meta struct {
		Name            string `json:"name"`
		Generation      int64  `json:"generation"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	text []byte
}

func (t thing) name() string { return strings.ToLower(t.Kind) + "/" + t.Meta.Name }

// get asks for the objects. --ignore-not-found makes a missing object an empty
// answer, so that "not there" is told apart from "not allowed to look"
// (kubernetes.io/docs/reference/kubectl/generated/kubectl_get).
func (o *object) get(ctx context.Context, env *check.Env) ([]thing, error) {
	host, err := env.Host(o.On)
	if err != nil {
		return nil, err
	}
	argv := []string{"kubectl", "get", o.Kind}
	if o.Name != "" {
		argv = append(argv, o.Name)
	} else {
		argv = append(argv, "--selector="+o.Selector)
	}
	argv = append(argv, "--output=json", "--ignore-not-found=true")
	if o.Namespace != "" {
		argv = append(argv, "--namespace="+o.Namespace)
	}
	if o.Context != "" {
		argv = append(argv, "--context="+o.Context)
	}
	result, err := host.Exec(ctx, check.Command{Argv: argv, Limit: maxObjects})
	switch {
	case err != nil:
		return nil, fmt.Errorf("kubectl get: %w", err)
	case result.Truncated:
		return nil, fmt.Errorf("kubectl get says more than %d MiB: narrow the selector", maxObjects>>20)
	case result.Code != 0 || result.Signal != "":
		return nil, fmt.Errorf("kubectl get ended with exit %d: %.300s", result.Code, strings.TrimSpace(string(result.Stderr)))
	}
	return o.read(result.Stdout)
}

// read takes the answer apart: nothing for a name that is not there, an object for
// one that is, a list for a selector.
func (o *object) read(text []byte) ([]thing, error) {
	if o.Name != "" && strings.TrimSpace(string(text)) == "" {
		return nil, nil
	}
	parts := []json.RawMessage{text}
	if o.Selector != "" {
		var list struct {
			Kind  string             `json:"kind"`
			Items *[]json.RawMessage `json:"items"`
		}
		if err := json.Unmarshal(text, &list); err != nil {
			return nil, fmt.Errorf("kubectl get says something else than JSON: %w", err)
		}
		if !strings.HasSuffix(list.Kind, "List") || list.Items == nil {
			return nil, errors.New("kubectl get says no list of objects")
		}
		parts = *list.Items
	}
	var out []thing
	for _, part := range parts {
		one := thing{text: part}
		if err := json.Unmarshal(part, &one); err != nil {
			return nil, fmt.Errorf("kubectl get says something else than JSON: %w", err)
		}
		if one.Kind == "" || one.Meta.Name == "" || o.Name != "" && one.Meta.Name != o.Name {
			return nil, errors.New("kubectl get says another object than the one that was asked for")
		}
		out = append(out, one)
	}
	return out, nil
}
