CREATE TABLE public.best (id BIGINT) WITH (connector = 'stdout', format = 'json');
INSERT INTO public.best SELECT 1;
