SELECT 'CREATE ROLE "{{ spec.user }}" LOGIN CREATEDB' WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{{ spec.user }}') \gexec
SELECT 'CREATE DATABASE "{{ application.options.database }}" OWNER "{{ spec.user }}"'
    WHERE NOT EXISTS (SELECT 1 FROM pg_database WHERE datname = '{{ application.options.database }}') \gexec
