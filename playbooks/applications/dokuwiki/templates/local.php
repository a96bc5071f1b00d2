<?php
// Who may come in is decided before: the front door lets only the owner through.
$conf['title'] = '{{ application.options.title }}';
$conf['lang'] = '{{ application.options.language }}';
$conf['license'] = '0';
$conf['useacl'] = 0;
$conf['updatecheck'] = 0;
$conf['htmlok'] = 0;
